#include "model/io/format.h"

#include <array>
#include <cstdio>

namespace vmla::format_detail {
namespace {

/// snprintf with the field's own specification between % and the conversion.
template <class Number>
void append_number(std::string& out, std::string_view spec, const char* conversion, Number number) {
  std::array<char, 16> directive{};
  std::snprintf(directive.data(),
                directive.size(),
                "%%%.*s%s",
                static_cast<int>(spec.size()),
                spec.data(),
                conversion);
  // The longest is {:f} of the largest double: 309 digits, a point and six more.
  std::array<char, 512> text{};
  const int length = std::snprintf(text.data(), text.size(), directive.data(), number);
  out.append(text.data(), std::min<size_t>(static_cast<size_t>(length), text.size() - 1));
}

void append(std::string& out, std::string_view spec, const FormatValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) {
    out += *flag ? "true" : "false";
  } else if (const auto* letter = std::get_if<char>(&value)) {
    out += *letter;
  } else if (const auto* view = std::get_if<std::string_view>(&value)) {
    out += *view;
  } else if (const auto* owned = std::get_if<std::string>(&value)) {
    out += *owned;
  } else if (const auto* real = std::get_if<double>(&value)) {
    append_number(out, spec, "", *real);
  } else {
    const bool hexadecimal = spec.ends_with('x');
    if (hexadecimal) spec.remove_suffix(1);
    if (const auto* whole = std::get_if<int64_t>(&value)) {
      append_number(out, spec, hexadecimal ? "lx" : "ld", static_cast<long>(*whole));
    } else {
      append_number(out,
                    spec,
                    hexadecimal ? "lx" : "lu",
                    static_cast<unsigned long>(std::get<uint64_t>(value)));
    }
  }
}

}  // namespace

std::string print(std::string_view text, std::span<const FormatValue> values) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != '}') {
      out += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == text[i]) {
      out += text[i++];
    } else {
      const size_t end = text.find('}', i);
      std::string_view spec = text.substr(i + 1, end - i - 1);
      if (!spec.empty()) spec.remove_prefix(1);
      append(out, spec, values[next++]);
      i = end;
    }
  }
  return out;
}

}  // namespace vmla::format_detail
