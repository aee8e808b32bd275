#pragma once

#include <string>

/// What `vmla train --list-keys` prints: every configuration key, taken from the structs and their
/// defaults.
namespace vmla::trainer {

/// One line a key, in the order of a yaml file: `section.key: default   # meaning`.
std::string config_reference();

/// The page docs/configuration.md: one table a section. tests/python/test_documentation.py compares
/// the file with this text.
std::string config_reference_markdown();

}  // namespace vmla::trainer
