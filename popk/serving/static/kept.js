// Entries that last over a reload of this tab, unreadable outside: encrypted under a key that only
// the running server has, so that what a browser leaves on disk says nothing once it has ended.

const NAME = "popk-entries";
const possible = Boolean(globalThis.crypto?.subtle && globalThis.sessionStorage);

function bytes(hex) {
  return Uint8Array.from(hex.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function text(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Kept {
  constructor(key) {
    this.possible = possible;
    this.key = possible
      ? crypto.subtle.importKey("raw", bytes(key), "AES-GCM", false, ["encrypt", "decrypt"])
      : null;
    this.turn = 0;
  }

  async keep(value) {
    if (!this.possible) return;
    this.turn += 1;
    const own = this.turn;
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const plain = new TextEncoder().encode(JSON.stringify(value));
    const hidden = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await this.key, plain);
    // An older value that is ready late does not replace a newer one, nor what was cleared.
    if (own === this.turn) sessionStorage.setItem(NAME, `${text(iv)}.${text(hidden)}`);
  }

  async restored() {
    const held = this.possible ? sessionStorage.getItem(NAME) : null;
    if (!held) return null;
    try {
      const [iv, hidden] = held.split(".").map(bytes);
      const plain = await crypto.subtle.decrypt({ name: "AES-GCM", iv }, await this.key, hidden);
      return JSON.parse(new TextDecoder().decode(plain));
    } catch {
      sessionStorage.removeItem(NAME); // of another run of the server
      return null;
    }
  }

  forget() {
    this.turn += 1;
    if (this.possible) sessionStorage.removeItem(NAME);
  }
}
