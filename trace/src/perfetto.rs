//! placeholder while the rest is compiled first
