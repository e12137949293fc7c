/** Reads a state message; null if it is not one. */
export function readState(value) {
    const s = value;
    return s !== null && typeof s === "object" && Number.isSafeInteger(s.rev) ? s : null;
}
