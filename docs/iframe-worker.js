// Lets the search work in pages that are read from the disk: browsers start no workers there, so what the worker would
// run is run in a hidden frame.
(() => {
  if (location.protocol !== "file:") return

  class IFrameWorker extends EventTarget {
    constructor(url) {
      super()
      this.onmessage = null
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inner = this.frame.contentWindow
      const load = address => new Promise((done, failed) => {
        const script = inner.document.createElement("script")
        script.src = new URL(address, location.href).href
        script.onload = done
        script.onerror = failed
        inner.document.body.appendChild(script)
      })
      inner.postMessage = data => this.answer(data)
      inner.importScripts = (...addresses) =>
        addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve())
      load(url).then(() => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach(data => this.postMessage(data))
      })
    }

    postMessage(data) {
      const inner = this.frame.contentWindow
      if (this.waiting) this.waiting.push(data)
      else setTimeout(() => inner.dispatchEvent(new inner.MessageEvent("message", { data })))
    }

    answer(data) {
      setTimeout(() => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      })
    }

    terminate() {
      this.frame.remove()
    }
  }

  window.IFrameWorker = window.Worker = IFrameWorker
})()
