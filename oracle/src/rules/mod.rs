//! What each operation may do: one file per system-call family, one documented rule per behaviour.
