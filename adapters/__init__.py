"""LoRA weights on disk, from an upload to a name that can be served.

An upload goes ``archive.unpack_archive`` or ``archive.place_files`` →
``registry.AdapterRegistry.add``, which validates it against the base model's shapes, stores its
canonical form under its digest and names it. An adapter that the registry returns can be loaded as
it is: everything that the engine does not check holds.

Nothing is imported here, so that a light module such as ``adapters.errors`` costs only itself.
"""
