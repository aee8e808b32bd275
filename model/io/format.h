#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

/// Text from a template and values, in std::format's syntax: formatted("{} of {}", done, total).
/// A small substitute for std::format, which this compiler does not have; libfmt's header would
/// meet LibTorch's copy of it. The template is checked while compiling: as many fields as values,
/// and a specification that fits the value's type.
///
/// | value            | field                                                              |
/// |------------------|--------------------------------------------------------------------|
/// | text, bool, char | {}                                                                 |
/// | whole number     | {}, {:x}, and with leading zeros {:06} or {:06x}                   |
/// | floating point   | {:g}, {:f}, {:e}, each with a precision, such as {:.3f}; never {}  |
/// | has operator<<   | {} (std::format has no such fallback; tensor shapes use it)        |
///
/// std::format's {} would print all digits of a floating-point number, which no message wants, so
/// the template must say how many: {:g} prints six significant ones. {{ and }} stand for braces.
namespace vmla {

/// One value, ready to be printed.
using FormatValue =
    std::variant<bool, char, int64_t, uint64_t, double, std::string_view, std::string>;

namespace format_detail {

enum class Kind { kText, kInteger, kFloating };

template <class T>
constexpr Kind kind_of() {
  using Value = std::remove_cvref_t<T>;
  if constexpr (std::floating_point<Value>) return Kind::kFloating;
  if constexpr (std::integral<Value> && !std::same_as<Value, bool> && !std::same_as<Value, char>)
    return Kind::kInteger;
  return Kind::kText;
}

// Not constexpr: a call while a template is checked stops the compiler, and the function's name is
// the error message that it shows.
void more_fields_than_values();
void fewer_fields_than_values();
void brace_without_a_partner();
void specification_does_not_fit_the_value();

constexpr bool fits(std::string_view spec, Kind kind) {
  const auto digits = [&spec] {
    const size_t before = spec.size();
    while (!spec.empty() && spec[0] >= '0' && spec[0] <= '9') spec.remove_prefix(1);
    return before - spec.size();
  };
  if (kind == Kind::kText) return spec.empty();
  if (kind == Kind::kInteger) {
    if (!spec.empty() && spec[0] == '0' && digits() < 2) return false;
    return spec.empty() || spec == "x";
  }
  if (!spec.empty() && spec[0] == '.') {
    spec.remove_prefix(1);
    if (digits() == 0) return false;
  }
  return spec == "g" || spec == "f" || spec == "e";
}

constexpr void check(std::string_view text, std::span<const Kind> kinds) {
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != '}') continue;
    if (i + 1 < text.size() && text[i + 1] == text[i]) {
      ++i;
      continue;
    }
    if (text[i] == '}') return brace_without_a_partner();
    const size_t end = text.find('}', i);
    if (end == std::string_view::npos) return brace_without_a_partner();
    if (next == kinds.size()) return more_fields_than_values();
    std::string_view spec = text.substr(i + 1, end - i - 1);
    if (!spec.empty() && spec[0] != ':') return specification_does_not_fit_the_value();
    if (!spec.empty()) spec.remove_prefix(1);
    if (!fits(spec, kinds[next++])) return specification_does_not_fit_the_value();
    i = end;
  }
  if (next != kinds.size()) fewer_fields_than_values();
}

template <class T>
FormatValue value_of(const T& value) {
  if constexpr (std::same_as<T, bool> || std::same_as<T, char>) {
    return value;
  } else if constexpr (std::floating_point<T>) {
    return static_cast<double>(value);
  } else if constexpr (std::signed_integral<T>) {
    return static_cast<int64_t>(value);
  } else if constexpr (std::unsigned_integral<T>) {
    return static_cast<uint64_t>(value);
  } else if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string_view(value);
  } else {
    std::ostringstream out;
    out << value;
    return std::move(out).str();
  }
}

std::string print(std::string_view text, std::span<const FormatValue> values);

}  // namespace format_detail

/// A template whose fields have been checked against the types of its values.
template <class... Values>
class FormatText {
 public:
  // Implicit: a literal is what callers write.
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  consteval FormatText(const Text& text) : text_(text) {
    constexpr format_detail::Kind kKinds[] = {format_detail::kind_of<Values>()...};
    format_detail::check(text_, kKinds);
  }
  std::string_view text() const { return text_; }

 private:
  std::string_view text_;
};

/// A template as a parameter of a function: the types of the values are deduced from the values
/// alone.
template <class... Values>
using FormatFor = FormatText<std::type_identity_t<Values>...>;

/// The template with its fields replaced by the values, in order.
template <class... Values>
  requires(sizeof...(Values) > 0)
std::string formatted(FormatFor<Values...> text, const Values&... values) {
  const FormatValue all[] = {format_detail::value_of(values)...};
  return format_detail::print(text.text(), all);
}

}  // namespace vmla
