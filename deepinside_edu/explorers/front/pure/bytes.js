/** What the kernel sends is raw bytes; a copy of them, as numbers of a type. */
export const bytes = (view, Type) => new Type(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
