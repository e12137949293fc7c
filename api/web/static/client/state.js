/** Reads a state message; null where it is none. */
export function readState(value) {
    const s = value;
    return s !== null && typeof s === "object" && Number.isSafeInteger(s.rev) ? s : null;
}
