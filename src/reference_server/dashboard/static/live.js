// Keeps the figures of a page up to date. It asks the API every few seconds whether something has changed, and
// only then fetches the page again: the server writes every figure. Without this file, reload the page.
"use strict";

const SECONDS = 4;
const watched = document.body.dataset.watch;
let known;

async function look() {
  let seconds = SECONDS;
  try {
    if (!document.hidden) seconds = (await compare()) ?? SECONDS;
  } catch {
    // The server is away; it is asked again.
  }
  setTimeout(look, seconds * 1000);
}

async function compare() {
  const answer = await fetch(watched, { headers: { Accept: "application/json" } });
  if (answer.status === 401) location.reload();
  if (!answer.ok) return Number(answer.headers.get("Retry-After")) || undefined;
  const text = await answer.text();
  if (text !== known && (await refresh())) known = text;
  return undefined;
}

async function refresh() {
  const address = new URL(location.href);
  address.searchParams.delete("done");
  const answer = await fetch(address);
  if (!answer.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live][id]")) {
    const fresh = page.getElementById(part.id);
    if (fresh && fresh.outerHTML !== part.outerHTML && !isInUse(part)) part.replaceWith(fresh);
  }
  document.getElementById("updated").textContent = `Updated at ${new Date().toLocaleTimeString()}`;
  return true;
}

function isInUse(part) {
  return part.contains(document.activeElement) || part.querySelector("details[open]") !== null;
}

look();
