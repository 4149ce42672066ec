// A shop under pm2: its API in several instances, its worker, its mailer, its nightly report.
const path = require("path");

const common = { cwd: path.join(__dirname, "app"), max_memory_restart: "300M", time: true };

module.exports = {
  apps: [
    {
      ...common,
      name: "api",
      script: "api.js",
      instances: 3,
      exec_mode: "cluster",
      increment_var: "PORT",
      env: { PORT: 3000, NODE_ENV: "development", GREETING: "Jó napot" },
      env_production: { NODE_ENV: "production" },
      wait_ready: true,
      listen_timeout: 8000,
      kill_timeout: 5000,
      node_args: "--max-old-space-size=256",
    },
    {
      ...common,
      name: "queue worker",
      script: "worker.py",
      interpreter: "python3",
      args: ["--queue", "mails and invoices"],
      namespace: "batch",
      exp_backoff_restart_delay: 200,
      out_file: path.join(__dirname, "logs/worker.log"),
      error_file: path.join(__dirname, "logs/worker.log"),
      merge_logs: true,
      stop_exit_codes: [0],
      watch: ["worker.py"],
      ignore_watch: ["*.log"],
    },
    { ...common, name: "mailer", script: "sleep 1000", instances: 2, out_file: path.join(__dirname, "logs/mailer.log") },
    { ...common, name: "report", script: "./report.sh", autorestart: false },
  ],
};
