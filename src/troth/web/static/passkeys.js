// Passkeys (Web Authentication). A form with data-passkey carries what the device is asked, as JSON in
// data-options; the device's answer goes back in its field `answer`. Nothing is fetched, nothing is stored.
"use strict";

(() => {
  const decode = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
  const encode = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-")
      .replace(/\//g, "_")
      .replace(/=+$/, "");
  const withId = (one) => ({ ...one, id: decode(one.id) });

  const read = (form) => {
    const options = JSON.parse(form.dataset.options);
    options.challenge = decode(options.challenge);
    if (options.user) options.user = withId(options.user);
    if (options.excludeCredentials) options.excludeCredentials = options.excludeCredentials.map(withId);
    if (options.allowCredentials) options.allowCredentials = options.allowCredentials.map(withId);
    return options;
  };

  const write = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"])
      if (credential.response[name]) response[name] = encode(credential.response[name]);
    return JSON.stringify({ id: credential.id, rawId: encode(credential.rawId), type: credential.type, response });
  };

  const send = (form, credential) => {
    form.elements.answer.value = write(credential);
    form.submit();
  };

  let waiting = null;

  // Passkeys among the suggestions of the address field, where the browser can (conditional mediation).
  const suggest = async (form) => {
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
    waiting = new AbortController();
    const asked = { publicKey: read(form), mediation: "conditional", signal: waiting.signal };
    send(form, await navigator.credentials.get(asked));
  };

  const press = async (form) => {
    waiting?.abort();
    const makes = form.dataset.passkey === "create";
    const asked = { publicKey: read(form) };
    send(form, await (makes ? navigator.credentials.create(asked) : navigator.credentials.get(asked)));
  };

  const quietly = (work, form, said) =>
    work(form).catch((error) => {
      const note = form.querySelector("[data-failed]");
      if (said && note) {
        note.hidden = false;
        note.textContent = error.name === "InvalidStateError" ? note.dataset.known : note.dataset.failed;
      }
    });

  if (!window.PublicKeyCredential) return;
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      quietly(press, form, true);
    });
    if (form.dataset.passkey === "suggest") quietly(suggest, form, false);
  }
})();
