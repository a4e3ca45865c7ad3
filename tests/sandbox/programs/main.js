// Does what the first word of its input says.
const fs = require("fs");
const net = require("net");

const [task, first, second] = fs.readFileSync(0, "utf8").split(/\s+/);
if (task === "sum") {
  console.log(Number(first) + Number(second));
} else if (task === "fail") {
  console.error("failing");
  process.exit(3);
} else if (task === "spin") {
  for (;;);
} else if (task === "hoard") {
  const blocks = [];
  for (let i = 0; i < 256; i++) blocks.push(Buffer.alloc(16 << 20, "x"));
  console.log("hoarded", blocks.length);
} else if (task === "look") {
  if (fs.existsSync(first)) console.log("file");
  const connection = net.connect(Number(second), "127.0.0.1", () => {
    console.log("network");
    connection.destroy();
  });
  connection.on("error", () => {});
  connection.on("close", () => console.log("looked"));
}
