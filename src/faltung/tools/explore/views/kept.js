// Arrays that are costly to make and seldom change.

/** Arrays that are made anew only when something that they are made of is another. */
export class Kept {
  constructor() {
    this.all = new Map();
  }

  get(name, sources, make) {
    const kept = this.all.get(name);
    if (kept && kept.sources.every((source, i) => source === sources[i])) return kept.values;
    const values = make();
    this.all.set(name, { sources, values });
    return values;
  }
}
