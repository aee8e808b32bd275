#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

/// The options of a command line, declared by the kind of their value. CLI11 parses them; its
/// header takes five seconds to compile, so that few sources include it and commands declare their
/// options through this one.
namespace vmla::launch {

/// Where the value of an option goes: into a variable that holds the default, or into an optional
/// that stays empty when the option is not given. Must outlive the parser.
template <class T>
class Destination {
 public:
  // Implicit: a variable is what callers write.
  Destination(T& value) : value_(&value) {}
  Destination(std::optional<T>& value) : value_(&value) {}
  std::variant<T*, std::optional<T>*> value() const { return value_; }

 private:
  std::variant<T*, std::optional<T>*> value_;
};

/// An option that has been declared, for what not every option has.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}
  /// A command line without it is refused.
  Option required();
  /// What stands for the value in the help, instead of the name of its type.
  Option type(const std::string& name);
  /// The help shows the variable's value as the default.
  Option shows_default();

 private:
  CLI::Option* option_;
};

/// Declares the options of one command. `name` begins with `--`; without it the option is
/// positional. A value that does not fit is refused while parsing, in a line that names the option.
class OptionSet {
 public:
  explicit OptionSet(CLI::App& app) : app_(app) {}

  /// True when it is given; takes no value.
  Option flag(const std::string& name, bool& value, const std::string& help);

  /// A flag that may name one of `valid`, as `--name=word`; alone it stands for the first of them.
  Option flag_of(const std::string& name,
                 std::string& value,
                 const std::vector<std::string>& valid,
                 const std::string& help);

  /// Any text; `type` says in the help what kind.
  Option text(const std::string& name,
              Destination<std::string> value,
              const std::string& type,
              const std::string& help);
  /// Several texts, one after another or in several occurrences.
  Option texts(const std::string& name,
               std::vector<std::string>& values,
               const std::string& type,
               const std::string& help);
  /// Several texts, one in each occurrence, so that a positional argument behind it stays one.
  Option repeated_text(const std::string& name,
                       std::vector<std::string>& values,
                       const std::string& type,
                       const std::string& help);
  /// One of `valid`.
  Option choice(const std::string& name,
                std::string& value,
                const std::vector<std::string>& valid,
                const std::string& help);

  /// Integers of 64 bits: any, from 0, and from 1.
  Option integer(const std::string& name, Destination<int64_t> value, const std::string& help);
  Option integer_from_0(const std::string& name,
                        Destination<int64_t> value,
                        const std::string& help);
  Option integer_from_1(const std::string& name,
                        Destination<int64_t> value,
                        const std::string& help);

  /// Finite numbers: any, above 0, and from 0.
  Option any_number(const std::string& name, Destination<double> value, const std::string& help);
  Option number_above_0(const std::string& name,
                        Destination<double> value,
                        const std::string& help);
  Option number_from_0(const std::string& name, Destination<double> value, const std::string& help);
  /// Numbers from 0, separated by commas, in one argument.
  Option numbers_from_0(const std::string& name,
                        std::vector<double>& values,
                        const std::string& help);
  /// A time in seconds, above `least` and below 1e9 (31 years).
  Option seconds_above(double least,
                       const std::string& name,
                       double& value,
                       const std::string& help);

 private:
  CLI::App& app_;
};

}  // namespace vmla::launch
