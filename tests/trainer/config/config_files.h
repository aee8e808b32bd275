#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "model/io/error.h"
#include "tests/support/temporary_folder.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer::testing {

/// A folder that lives as long as the test, for files of a configuration.
class TemporaryFolder : public vmla::TemporaryFolder {
 public:
  /// Writes the file and the folders that it lies in; returns its path.
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path() / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file;
  }
};

/// The message of the `Error` that `function` throws.
template <class Error, class Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

/// A file below configs/.
inline std::filesystem::path shipped_config(const std::string& name) {
  return std::filesystem::path(VMLA_CONFIG_DIR) / name;
}

/// A setting that breaks one rule.
struct BrokenRule {
  /// The key that is set, which the message names.
  const char* key;
  const char* value;
  /// What the message says after "--set key=value: key: ".
  const char* message;
};

/// Loading `file` with the rule's setting must fail with exactly the rule's message.
inline void expect_refused(const std::filesystem::path& file, const BrokenRule& rule) {
  const std::string assignment = std::string(rule.key) + "=" + rule.value;
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {assignment}); }),
            "--set " + assignment + ": " + rule.key + ": " + rule.message);
}

}  // namespace vmla::trainer::testing
