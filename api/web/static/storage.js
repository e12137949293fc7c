// What a tab keeps: in sessionStorage, so that a reload finds it and closing the tab
// removes it. Where storage is disabled, values last as long as the page.

const fallback = new Map();

/** The value stored under a key, or null. */
export function load(key) {
  try {
    return sessionStorage.getItem(key) ?? fallback.get(key) ?? null;
  } catch {
    return fallback.get(key) ?? null;
  }
}

/** Stores a string, or removes the value where it is null. */
export function save(key, value) {
  fallback.set(key, value);
  try {
    if (value === null) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, value);
  } catch {
    // The fallback has it.
  }
}
