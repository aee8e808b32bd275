#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace vmla::launch {

/// The number that all of `text` is. Nothing where something stands before or behind it, or where
/// it does not fit T: what the standard library's other readers pass over or clamp.
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace vmla::launch
