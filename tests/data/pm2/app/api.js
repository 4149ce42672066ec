// What the fixture starts as its API. It does not listen on PORT: tests run side by side.
setInterval(() => {}, 1000);
process.send?.("ready");
