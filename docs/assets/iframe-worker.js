// Search when the site is read from the disk: a browser starts no worker there, so a hidden frame is one.
// The theme looks for the name IFrameWorker, and the plugin `offline` for that of this file.
window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    document.body.append(this.frame);
    const inside = this.frame.contentWindow;
    inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    inside.importScripts = (...urls) =>
      urls.reduce((before, one) => before.then(() => this.load(one)), Promise.resolve());
    this.ready = this.load(url);
  }

  load(url) {
    const inside = this.frame.contentDocument;
    const script = Object.assign(inside.createElement("script"), { src: url });
    inside.body.append(script);
    return new Promise((resolve) => script.addEventListener("load", resolve));
  }

  postMessage(data) {
    this.ready.then(() =>
      this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })),
    );
  }

  terminate() {
    this.frame.remove();
  }
};

if (location.protocol === "file:") window.Worker = window.IFrameWorker;
