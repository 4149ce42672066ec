//! The fast way to leave is not to be told from the runtime's own: each script is run cold, fast and full.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::house::{Daemon, Setup};

/// What `exit()`, shutdown functions, destructors, buffers and streams may meet in. `$argv[1]` is a file to write to.
const PHP: [(&str, &str); 27] = [
    ("plain", "echo 'a'; exit(3);"),
    ("text", "exit('bye');"),
    ("large", "exit(257);"),
    ("negative", "exit(-1);"),
    ("from-a-function", "function f() { try { exit(5); } finally { echo 'never'; } } f(); echo 'never';"),
    ("shutdown", "register_shutdown_function(function () { echo 's'; }); echo 'a'; exit(4);"),
    (
        "shutdown-registers",
        "register_shutdown_function(function () { echo 1; register_shutdown_function(function () { echo 2; }); }); exit(2);",
    ),
    (
        "shutdown-exits",
        "register_shutdown_function(function () { exit(6); }); register_shutdown_function(function () { echo 'never'; });",
    ),
    ("exit-then-shutdown-exits", "register_shutdown_function(function () { exit(6); }); exit(3);"),
    ("exit-0-then-shutdown-exits", "register_shutdown_function(function () { exit(6); }); exit(0);"),
    ("shutdown-throws", "register_shutdown_function(function () { throw new Exception('late'); }); exit(3);"),
    (
        "destructors",
        "class D { function __construct(public $n) {} function __destruct() { echo $this->n; } } $a = new D('a'); $b = new D('b'); $c = $b; $f = fn () => new D('f'); $f();",
    ),
    ("destructor-in-an-array", "class D { function __destruct() { echo 'd'; } } $all = [[new D]]; exit(1);"),
    (
        "destructor-after-shutdown",
        "class D { function __destruct() { echo 'd'; } } $d = new D; register_shutdown_function(function () { echo 's'; }); exit(1);",
    ),
    (
        "destructor-in-a-buffer",
        "class D { function __destruct() { echo 'd'; } } $d = new D; ob_start(fn ($text) => strtoupper($text)); echo 'x'; exit(1);",
    ),
    ("destructor-exits", "class D { function __destruct() { exit(7); } } $d = new D;"),
    ("destructor-throws", "class D { function __destruct() { throw new Exception('no'); } } $d = new D;"),
    ("of-the-preload", "$GLOBALS['shared'] = new Said('new'); exit(2);"),
    ("buffers", "ob_start('strrev'); ob_start('strtoupper'); echo 'abc'; exit(8);"),
    (
        "a-buffer-that-stays",
        "ob_start(null, 0, PHP_OUTPUT_HANDLER_STDFLAGS ^ PHP_OUTPUT_HANDLER_REMOVABLE); echo 'kept'; exit(9);",
    ),
    (
        "a-buffer-that-stays-to-the-end",
        "ob_start(null, 0, PHP_OUTPUT_HANDLER_STDFLAGS ^ PHP_OUTPUT_HANDLER_REMOVABLE); echo 'kept';",
    ),
    (
        "compressed-to-the-end",
        "$out = fopen('compress.zlib://' . $argv[1], 'w'); fwrite($out, str_repeat('line', 999));",
    ),
    ("compressed", "$out = fopen('compress.zlib://' . $argv[1], 'w'); fwrite($out, str_repeat('line', 999)); exit(1);"),
    (
        "filtered",
        "$out = fopen($argv[1], 'w'); stream_filter_append($out, 'convert.base64-encode'); fwrite($out, 'ab'); exit(0);",
    ),
    ("a-process", "$p = popen('sleep 0.2; cat > ' . $argv[1], 'w'); fwrite($p, 'told'); exit(0);"),
    (
        "a-session",
        "class S implements SessionHandlerInterface { function open($p, $n): bool { return true; } function close(): bool { return true; } function read($i): string { return ''; } function write($i, $d): bool { global $argv; return (bool) file_put_contents($argv[1], $d); } function destroy($i): bool { return true; } function gc($m): int { return 0; } } ini_set('session.use_cookies', 0); session_set_save_handler(new S, false); session_id('x'); session_start(); $_SESSION['a'] = 1; exit(0);",
    ),
    ("uncaught", "class D { function __destruct() { echo 'd'; } } $d = new D; throw new Exception('no');"),
];

/// The same in Python; an uncaught exception is 255 here, and so not compared.
const PYTHON: [(&str, &str); 14] = [
    ("plain", "import sys; print('a'); sys.exit(3)"),
    ("text", "import sys; sys.exit('bye')"),
    ("nothing", "import sys; sys.exit()"),
    ("large", "import sys; sys.exit(257)"),
    ("at-once", "import os; print('lost', end=''); os._exit(4)"),
    ("finally", "import sys\ntry:\n    sys.exit(5)\nfinally:\n    print('f')"),
    (
        "atexit",
        "import atexit, sys\natexit.register(print, 1)\natexit.register(print, 2)\nprint('a', end='')\nsys.exit(6)",
    ),
    ("atexit-raises", "import atexit, sys\natexit.register(print, 1)\natexit.register(lambda: 1 / 0)\nsys.exit(6)"),
    ("atexit-registers", "import atexit\natexit.register(lambda: atexit.register(print, 'late'))"),
    ("finalize", "import weakref\nclass A: pass\na = A()\nweakref.finalize(a, print, 'finalized')"),
    ("a-file", "import sys\nout = open(sys.argv[1], 'w')\nout.write('kept')\nsys.exit(7)"),
    (
        "a-thread",
        "import threading, time, sys\nthreading.Thread(target=lambda: (time.sleep(0.2), print('joined'))).start()\nsys.exit(8)",
    ),
    (
        "a-pool",
        "import concurrent.futures, sys\np = concurrent.futures.ThreadPoolExecutor()\np.submit(print, 'done')\nsys.exit(9)",
    ),
    (
        "a-folder",
        "import tempfile, sys, os\nt = tempfile.TemporaryDirectory()\nimport atexit\natexit.register(lambda: print(os.path.exists(t.name)))\nsys.exit(1)",
    ),
];

/// Of the preload and, cold, of the script itself: objects whose destructor the runs do not reach.
const BOOT: &str = "<?php\nclass Said { function __construct(public $n) {} function __destruct() { if ($this->n !== 'old') { echo $this->n; } } }\n$shared = new Said('old');\n";

/// Exit code, standard output, and what is in the file.
type Seen = (Value, Value, Option<Vec<u8>>);

fn warm(daemon: &Daemon, script: &str) -> Seen {
    let file = daemon.path().join(format!("{script}.warm"));
    let ended = daemon.client().ok("run", json!({"entry": script, "args": [file], "wait": true}));
    assert_eq!(ended["signal"], Value::Null, "{ended}");
    let seen = (ended["exit_code"].clone(), ended["stdout"].clone(), std::fs::read(&file).ok());
    // The next daemon's run finds none.
    let _ = std::fs::remove_file(file);
    seen
}

fn cold(program: &str, folder: &Path, script: &str) -> Seen {
    let file = folder.join(format!("{script}.cold"));
    let out = Command::new(program).arg(folder.join(script)).arg(&file).current_dir(folder).output().unwrap();
    (json!(out.status.code()), json!(String::from_utf8(out.stdout).unwrap()), std::fs::read(&file).ok())
}

/// Runs all scripts cold, and in a pool with each of the settings.
fn compare(runtime: &str, program: &str, scripts: &[(String, String)], boot: (&str, &str), settings: &[Value]) {
    let mut files = vec![boot];
    files.extend(scripts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let daemons: Vec<Daemon> = settings.iter().map(|keys| Setup::app(runtime, &files, keys.clone()).start()).collect();
    for (name, _) in scripts {
        let wanted = cold(program, &daemons[0].path().join("app"), name);
        for (daemon, keys) in daemons.iter().zip(settings) {
            assert_eq!(warm(daemon, name), wanted, "{keys} {name}");
        }
    }
}

#[test]
fn php_leaves_as_it_would_have() {
    let head = "<?php ini_set('display_errors', 0); require_once __DIR__ . '/boot.php';";
    let scripts = PHP.map(|(name, text)| (format!("{name}.php"), format!("{head}\n{text}\n")));
    let keys = |via: &str, shutdown: &str, opcache: &str| {
        let interpreter = ["php", "-d", &format!("opcache.enable_cli={opcache}")];
        json!({"preload": "app/boot.php", "shutdown": shutdown, "env": {"PREFORKD_PHP_VIA": via}, "interpreter": interpreter})
    };
    let settings =
        [keys("ffi", "fast", "0"), keys("ffi", "full", "0"), keys("pcntl", "fast", "0"), keys("ffi", "fast", "1")];
    compare("php", "php", &scripts, ("boot.php", BOOT), &settings);
}

#[test]
fn python_leaves_as_it_would_have() {
    let scripts = PYTHON.map(|(name, text)| (format!("{name}.py"), text.to_owned()));
    let keys = |via: &str, shutdown: &str| json!({"preload": "app/boot.py", "shutdown": shutdown, "env": {"PREFORKD_PYTHON_VIA": via}});
    let settings = [keys("ctypes", "fast"), keys("ctypes", "full"), keys("fork", "fast")];
    compare("python", "python3", &scripts, ("boot.py", "import logging, threading, concurrent.futures\n"), &settings);
}

/// What the pages of the kits say is left out.
#[test]
fn the_fast_way_leaves_out_what_is_told_and_the_full_one_nothing() {
    let php = "<?php class D { static $d; function __destruct() { echo 'd'; } } D::$d = new D; exit(1);";
    let python = "import sys\nclass D:\n    def __del__(self): print('d')\nd = D()\nsys.exit(1)\n";
    for (runtime, script, text) in [("php", "held.php", php), ("python", "held.py", python)] {
        for (shutdown, said) in [("fast", ""), ("full", "d")] {
            let daemon = Setup::app(runtime, &[(script, text)], json!({"shutdown": shutdown})).start();
            let (code, out, _) = warm(&daemon, script);
            assert_eq!((code, out.as_str().map(str::trim_end)), (json!(1), Some(said)), "{runtime} {shutdown}");
        }
    }
}
