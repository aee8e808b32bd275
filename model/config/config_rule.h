#pragma once

#include <string>

#include "model/io/error.h"

namespace vmla {

/// A configuration value breaks a rule. It keeps the full key, so that the reader of the file can
/// put file name and line in front of the message.
class ConfigRuleError : public UserError {
 public:
  ConfigRuleError(std::string key, const std::string& text)
      : UserError(key + ": " + text), key_(std::move(key)) {}
  const std::string& key() const { return key_; }

 private:
  std::string key_;
};

/// Throws ConfigRuleError with the message `KEY: WHAT`, where WHAT says the value, the rule and the
/// remedy.
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
