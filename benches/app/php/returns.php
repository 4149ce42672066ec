<?php
// A script that comes to its end.

declare(strict_types=1);

return 1;
