"""The same job as in the pool, the cold way. Says on fd 3 that the job began."""

import jobs

jobs.announced(3)
