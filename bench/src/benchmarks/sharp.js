// Creates the variants of a post's image with libvips this many times: node sharp.js <image> <times>
// Prints the processor time per run in milliseconds, and the sizes of the files.
const sharp = require('sharp');
const file = require('fs').readFileSync(process.argv[2]);
const times = Number(process.argv[3]);
const variants = [[2048, 2048, 'inside'], [1080, 1350, 'inside'], [1080, 1350, 'cover'], [320, 320, 'cover']];
sharp.cache(false);

const variant = ([width, height, fit]) =>
  sharp(file).rotate().resize({ width, height, fit, withoutEnlargement: fit === 'inside' })
    .flatten({ background: 'white' }).jpeg({ quality: 85 }).toBuffer();
const all = () => Promise.all(variants.map(variant));

(async () => {
  await all();
  const before = process.cpuUsage();
  let made;
  for (let n = 0; n < times; n += 1) made = await all();
  const taken = process.cpuUsage(before);
  console.log((taken.user + taken.system) / 1000 / times, made.map((one) => one.length).join(' '));
})();
