/** The raw bytes of a message, copied as numbers of one type. */
export const bytes = (view, Type) => new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
