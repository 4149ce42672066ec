// What serves pages in the fixture. It listens on no port: tests run side by side.
setInterval(() => {}, 1000);
process.send?.("ready");
