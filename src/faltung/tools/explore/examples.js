// Layers worth looking at: a name, the link that opens it, and the output to look at first.

export const EXAMPLES = [
  ["Sliding window", "i=5x5&k=3x3&s=2x2&p=1x1"],
  ["Same size", "i=6x6&k=3x3&p=same"],
  ["Stride 3 skips", "i=8x8&k=2x2&s=3x3"],
  ["Dilated", "i=7x7&k=3x3&d=2x2"],
  ["Channels", "i=4x4&k=2x2&c=2&o=3"],
  ["Grouped", "i=4x4&k=3x3&p=1x1&c=4&o=4&g=2"],
  ["Depthwise", "i=4x4&k=3x3&p=1x1&c=3&o=3&g=3"],
  ["Pointwise", "i=3x3&k=1x1&c=4&o=2"],
  ["Transposed", "i=3x3&k=3x3&s=2x2&p=1x1&e=1x1&t=1"],
  ["Checkerboard", "i=4x4&k=3x3&s=2x2&t=1&bias=0&x=ones&w=ones", 20],
  ["Uneven padding", "i=5x6&k=2x3&p=0+1x2+0"],
  ["Around the edge", "i=5x5&k=3x3&p=1x1&mode=circular", 0],
  ["1-D", "i=12&k=3&s=2&p=1"],
  ["Causal", "i=12&k=3&d=2&p=causal"],
  ["3-D", "i=3x4x4&k=2x2x2"],
  ["Edges", "i=28x28&k=3x3&p=same&x=disc&w=edges&bias=0"],
];
