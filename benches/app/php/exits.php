<?php
// A script as bin/console is one: it ends in exit().

declare(strict_types=1);

exit(0);
