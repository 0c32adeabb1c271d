/* Before a form with data-proof-of-work is sent: fetches a challenge from there, finds the number whose SHA-256 it is
   (ALTCHA, https://altcha.org/docs/v1/proof-of-work/), and sends it along as `altcha`. Nothing else is sent or kept. */
(() => {
  "use strict";
  const hex = (bytes) => Array.from(new Uint8Array(bytes), (one) => one.toString(16).padStart(2, "0")).join("");
  const sha256 = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));

  async function solved(asked) {
    for (let start = 0; start <= asked.maxnumber; start += 500) {
      const numbers = Array.from({ length: 500 }, (_, place) => start + place);
      const hashes = await Promise.all(numbers.map((number) => sha256(asked.salt + number)));
      const place = hashes.findIndex((hash) => hex(hash) === asked.challenge);
      if (place >= 0) {
        const { algorithm, challenge, salt, signature } = asked;
        return btoa(JSON.stringify({ algorithm, challenge, number: numbers[place], salt, signature }));
      }
    }
    throw new Error("no number solves it");
  }

  function show(form, what) {
    for (const one of form.querySelectorAll("[data-proof]")) one.hidden = one.dataset.proof !== what;
  }

  async function prove(form) {
    if (!window.isSecureContext) return show(form, "insecure");
    show(form, "working");
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    try {
      const answer = await fetch(form.dataset.proofOfWork, { credentials: "omit", cache: "no-store" });
      const field = form.querySelector("input[name=altcha]") || form.appendChild(document.createElement("input"));
      field.type = "hidden";
      field.name = "altcha";
      field.value = await solved(await answer.json());
    } catch {
      /* sent without it, the form says what is missing */
    }
    form.submit();
  }

  for (const form of document.querySelectorAll("form[data-proof-of-work]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      prove(form);
    });
  }
  /* going back shows the form as it was left: with a button that is off, and a solution that is used */
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-proof-of-work]")) {
      show(form, "");
      for (const button of form.querySelectorAll("button")) button.disabled = false;
    }
  });
})();
