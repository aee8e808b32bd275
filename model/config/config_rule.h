#pragma once

#include <string>

#include "model/io/error.h"

namespace vmla {

/// A rule between configuration values is broken. It remembers the full key, so that whoever read
/// the file can put the file and the line in front of the message.
class ConfigRuleError : public UserError {
 public:
  ConfigRuleError(std::string key, const std::string& text)
      : UserError(key + ": " + text), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

/// Throws ConfigRuleError: `key: what`. It says the value, the rule and the remedy.
[[noreturn]] inline void fail_rule(const std::string& key, std::string_view what) {
  throw ConfigRuleError(key, std::string(what));
}
template <class... Values>
  requires(sizeof...(Values) > 0)
[[noreturn]] void fail_rule(const std::string& key,
                            FormatFor<Values...> what,
                            const Values&... values) {
  throw ConfigRuleError(key, formatted(what, values...));
}

}  // namespace vmla
