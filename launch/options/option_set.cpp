#include "launch/options/option_set.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <functional>
#include <limits>

#include "launch/options/parse_number.h"
#include "model/io/format.h"

namespace vmla::launch {
namespace {

// CLI11's own range checks clamp an integer that does not fit its type, and name the largest
// integer as the end of a range that has none.
CLI::Validator integer_at_least(int64_t least) {
  const auto check = [least](const std::string& text) {
    const auto value = parse_number<int64_t>(text);
    if (value && *value >= least) return std::string();
    if (least == std::numeric_limits<int64_t>::min()) {
      return formatted("{} is not an integer of 64 bits", text);
    }
    return formatted("{} is not an integer of at least {}", text, least);
  };
  return CLI::Validator(check, "");
}

/// A number for which `fits` is true; `wanted` completes "1.5 is not ...".
CLI::Validator number(const std::function<bool(double)>& fits, const std::string& wanted) {
  const auto check = [fits, wanted](const std::string& text) {
    const auto value = parse_number<double>(text);
    if (value && fits(*value)) return std::string();
    return formatted("{} is not {}", text, wanted);
  };
  return CLI::Validator(check, "");
}

CLI::Validator finite_number_from_0() {
  return number([](double value) { return std::isfinite(value) && value >= 0; }, "a number from 0");
}

CLI::Validator finite_number_above_0() {
  return number([](double value) { return std::isfinite(value) && value > 0; }, "a number above 0");
}

template <class T>
CLI::Option* add(CLI::App& app,
                 const std::string& name,
                 const Destination<T>& value,
                 const std::string& help) {
  return std::visit([&](auto* variable) { return app.add_option(name, *variable, help); },
                    value.value());
}

}  // namespace

Option Option::required() {
  option_->required();
  return *this;
}

Option Option::type(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Option Option::shows_default() {
  option_->capture_default_str();
  return *this;
}

Option OptionSet::flag(const std::string& name, bool& value, const std::string& help) {
  return Option(app_.add_flag(name, value, help));
}

Option OptionSet::flag_of(const std::string& name,
                          std::string& value,
                          const std::vector<std::string>& valid,
                          const std::string& help) {
  return Option(app_.add_flag(formatted("{}{{{}}}", name, valid.at(0)), value, help)
                    ->check(CLI::IsMember(valid).description("")));
}

Option OptionSet::text(const std::string& name,
                       Destination<std::string> value,
                       const std::string& type,
                       const std::string& help) {
  return Option(add(app_, name, value, help)->type_name(type));
}

Option OptionSet::texts(const std::string& name,
                        std::vector<std::string>& values,
                        const std::string& type,
                        const std::string& help) {
  return Option(app_.add_option(name, values, help)->type_name(type));
}

Option OptionSet::repeated_text(const std::string& name,
                                std::vector<std::string>& values,
                                const std::string& type,
                                const std::string& help) {
  CLI::Option* const option = app_.add_option(name, values, help);
  option->type_name(type)->allow_extra_args(false);
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return Option(option);
}

Option OptionSet::choice(const std::string& name,
                         std::string& value,
                         const std::vector<std::string>& valid,
                         const std::string& help) {
  return Option(app_.add_option(name, value, help)->check(CLI::IsMember(valid)));
}

Option OptionSet::integer(const std::string& name,
                          Destination<int64_t> value,
                          const std::string& help) {
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
  return Option(add(app_, name, value, help)->check(integer_at_least(kLowest)));
}

Option OptionSet::integer_from_0(const std::string& name,
                                 Destination<int64_t> value,
                                 const std::string& help) {
  return Option(add(app_, name, value, help)->check(integer_at_least(0)));
}

Option OptionSet::integer_from_1(const std::string& name,
                                 Destination<int64_t> value,
                                 const std::string& help) {
  return Option(add(app_, name, value, help)->check(integer_at_least(1)));
}

Option OptionSet::any_number(const std::string& name,
                             Destination<double> value,
                             const std::string& help) {
  return Option(add(app_, name, value, help)
                    ->check(number([](double v) { return std::isfinite(v); }, "a number")));
}

Option OptionSet::number_above_0(const std::string& name,
                                 Destination<double> value,
                                 const std::string& help) {
  return Option(add(app_, name, value, help)->check(finite_number_above_0()));
}

Option OptionSet::number_from_0(const std::string& name,
                                Destination<double> value,
                                const std::string& help) {
  return Option(add(app_, name, value, help)->check(finite_number_from_0()));
}

Option OptionSet::numbers_from_0(const std::string& name,
                                 std::vector<double>& values,
                                 const std::string& help) {
  CLI::Option* const option = app_.add_option(name, values, help);
  option->type_name("T,T,...")->delimiter(',')->allow_extra_args(false);
  option->check(finite_number_from_0());
  return Option(option);
}

Option OptionSet::seconds_above(double least,
                                const std::string& name,
                                double& value,
                                const std::string& help) {
  const auto fits = [least](double seconds) { return seconds > least && seconds < 1e9; };
  const std::string wanted = formatted("a number of seconds above {:g}", least);
  return Option(app_.add_option(name, value, help)->check(number(fits, wanted)));
}

}  // namespace vmla::launch
