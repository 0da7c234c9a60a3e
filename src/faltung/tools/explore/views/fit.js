// How large cells can be: input, weight and output side by side, or under each other.

import { written } from "../numbers.js";

const LARGEST = 44; // more looks like a poster
const LARGEST_WRAPPED = 32;
const LEGIBLE = 21; // two digits are still read
const SMALLEST = 4;
const WORTH_IT = 0.75; // of the rows, for smaller cells
const TALLEST = 640; // px of a column of planes before there are two columns
const NARROW = 640; // px on which input and output rather stand under each other
const CAPTION = 20; // px above a plane
const GAP = 10; // px between planes
const SLICE_GAP = 6;
const GROUP = 11; // px of a group's line, and 14 between groups
const FEW_WEIGHTS = 4; // planes of weight that keep their numbers beside a picture
const SIGNS = 118; // px that ∗ and = and the gaps around them take

/** Whether the blocks stand under each other; sizes of cells and planes side by side of each. */
export function fit(app, width, border) {
  const wants = ["x", "w", "y"].map((kind) => wanted(app, kind, border(kind)));
  const inRow = (size) =>
    wants.map((want) => arranged(want, own(want, size), (a) => a.height <= TALLEST));
  const under = (size) => wants.map((want) => widest(want, own(want, size), width));
  const total = (blocks) => blocks.reduce((sum, block) => sum + block.width, SIGNS);
  let size = LARGEST;
  while (size > SMALLEST && total(inRow(size)) > width) size--;
  if (size >= LEGIBLE) return { wrapped: false, blocks: inRow(size) };
  // long rows are larger under each other; large pictures would only be further apart
  const { blocks, height } = wrapped(under, width);
  const better = blocks[0].size > size && height <= TALLEST;
  if (width < NARROW || better) return { wrapped: true, blocks };
  return { wrapped: false, blocks: inRow(size) };
}

/** The largest size that fits, or a smaller one where more stands side by side. */
function wrapped(under, width) {
  let best;
  for (let size = LARGEST_WRAPPED; size >= SMALLEST; size--) {
    const blocks = under(size);
    const fits = Math.max(...blocks.map((block) => block.width)) <= width;
    const height = blocks.reduce((sum, block) => sum + block.height, 0);
    const rows = height / size; // what more side by side saves, apart from smaller cells
    if (fits && (!best || rows < WORTH_IT * best.rows)) best = { blocks, height, rows };
    if (best && size <= LEGIBLE) break;
  }
  return best ?? { blocks: under(SMALLEST), height: Infinity };
}

/** What has to be laid out: groups of items, an item being a map or a filter with its bias. */
function wanted(app, kind, border) {
  const { layer } = app;
  const size = kind === "w" ? layer.kernel : kind === "x" ? layer.inSize : layer.outSize;
  const full = size.map((n, a) => n + border[a][0] + border[a][1]);
  const [slices, rows, columns] = [1, 1, 1, ...full].slice(-3);
  const shape = app.shapeOf(kind);
  return {
    kind,
    slices,
    rows,
    columns,
    planes: kind === "w" ? shape[1] : 1,
    heading: 64 + 7.5 * shape.join("×").length,
    bias: kind === "w" && app.state.bias && !layer.transposed,
    items: shape[0] / layer.groups,
    groups: layer.groups,
  };
}

/** A few weights are written large enough to be read, however small the maps are. */
function own(want, size) {
  const few = want.kind === "w" && want.planes * want.items * want.groups <= FEW_WEIGHTS;
  return few && want.columns * want.slices <= 7 ? Math.max(size, LEGIBLE + 3) : size;
}

/** Width and height with so many items and so many groups side by side, within so much room. */
function measured(want, size, perRow, groupsPerRow, room = Infinity) {
  const line = want.groups > 1 ? GROUP : 0;
  const within = room - line;
  const slice = want.columns * size + 1;
  const slices = atMost(want.slices, slice, SLICE_GAP, within);
  const plane = slices * slice + (slices - 1) * SLICE_GAP;
  const bias = want.bias ? size + GAP + 1 : 0;
  const planes = atMost(want.planes, plane, GAP, within - bias);
  const item = planes * plane + (planes - 1) * GAP + bias;
  const group = perRow * item + (perRow - 1) * GAP + line;
  const tall = Math.ceil(want.planes / planes) * Math.ceil(want.slices / slices);
  const rows = Math.ceil(want.items / perRow) * (tall * (want.rows * size + 1) + CAPTION + GAP);
  return {
    size,
    perRow,
    groupsPerRow,
    slices,
    planes,
    width: Math.max(want.heading, groupsPerRow * group + (groupsPerRow - 1) * 14),
    height: Math.ceil(want.groups / groupsPerRow) * (rows + (line ? 20 : 0)),
  };
}

/** How many of a width fit side by side into a room; at least one. */
function atMost(count, width, gap, room) {
  return Math.min(count, Math.max(1, Math.floor((room + gap) / (width + gap))));
}

/** The first arrangement that will do: groups go side by side before their items do. */
function arranged(want, size, willDo) {
  let found;
  for (let perRow = 1; perRow <= want.items; perRow++) {
    for (let groups = 1; groups <= want.groups; groups++) {
      found = measured(want, size, perRow, groups);
      if (willDo(found)) return found;
    }
  }
  return found;
}

/** As many side by side as the width takes. */
function widest(want, size, width) {
  let best = measured(want, size, 1, 1, width);
  for (let perRow = 1; perRow <= want.items; perRow++) {
    for (let groups = 1; groups <= (perRow === want.items ? want.groups : 1); groups++) {
      const found = measured(want, size, perRow, groups, width);
      if (found.width <= width) best = found;
    }
  }
  return best;
}

/** One size of type for a whole tensor, so that its numbers line up; 0 where none would fit. */
export function fontSize(values, size) {
  let longest = 1;
  for (const value of values) longest = Math.max(longest, written(value).length);
  const font = Math.min(size * (size < 28 ? 0.5 : 0.43), (size - 4) / (longest * 0.6));
  return font < 7 ? 0 : Math.round(font * 2) / 2;
}
