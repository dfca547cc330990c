// SPDX-License-Identifier: Apache-2.0
//
// The JSON API, and addresses of pages: everything a page shows follows from its hash.

export async function get(path, parameters = {}, signal = undefined) {
  const response = await fetch(path + query(parameters), {signal});
  const document = await response.json();
  if (!response.ok) throw new Error(document.error?.message ?? `the server answered ${response.status}`);
  return document;
}

export function query(parameters) {
  const fields = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") fields.set(name, value);
  }
  const text = fields.toString();
  return text ? "?" + text : "";
}

// Where a file to keep comes from.
export function download(path, parameters = {}) {
  return path + query(parameters);
}

export function address(page, parameters = {}) {
  return "#/" + page + query(parameters);
}

// {page, p: {name: value}} of the address in the bar.
export function here() {
  const text = location.hash.startsWith("#/") ? location.hash.slice(2) : "runs";
  const at = text.indexOf("?");
  const fields = new URLSearchParams(at < 0 ? "" : text.slice(at + 1));
  return {page: at < 0 ? text : text.slice(0, at), p: Object.fromEntries(fields)};
}

// Goes there; with `quietly` the page stays as it is and only its address changes.
export function go(page, parameters, quietly = false) {
  const to = address(page, parameters);
  if (quietly) {
    history.replaceState(null, "", to);
  } else {
    location.hash = to;
  }
}
