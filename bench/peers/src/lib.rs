//! Nothing: this package is its dependencies.
