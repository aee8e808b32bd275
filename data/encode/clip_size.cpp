#include "data/encode/clip_size.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "model/io/error.h"

namespace vmla::data {
namespace {

/// Takes a whole number from 1 off the front of `text`; 0 where there is none.
int64_t take_number(std::string_view& text) {
  int64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || value < 1) return 0;
  text.remove_prefix(static_cast<size_t>(stop - text.data()));
  return value;
}

std::optional<ClipSize> parse_size(std::string_view text) {
  ClipSize size;
  size.height = take_number(text);
  if (!text.starts_with('x')) return std::nullopt;
  text.remove_prefix(1);
  size.width = take_number(text);
  if (!text.empty() || size.height == 0 || size.width == 0) return std::nullopt;
  return size;
}

}  // namespace

std::string ClipSize::name() const {
  return formatted("{}x{}", height, width);
}

std::vector<ClipSize> parse_clip_sizes(const std::string& what, std::string_view text) {
  std::vector<ClipSize> sizes;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string word(text.substr(begin, end - begin));
    const std::optional<ClipSize> size = parse_size(word);
    if (!size) {
      fail_user("{}: \"{}\" is no size; sizes are HEIGHTxWIDTH in pixels, as in 480x832,832x480",
                what,
                word);
    }
    if (std::ranges::find(sizes, *size) != sizes.end()) {
      fail_user("{}: {} is there twice; each size once", what, size->name());
    }
    sizes.push_back(*size);
    begin = end + 1;
  }
  return sizes;
}

size_t nearest_size(const std::vector<ClipSize>& sizes, double aspect) {
  const auto distance = [&](const ClipSize& size) {
    const double own = static_cast<double>(size.width) / static_cast<double>(size.height);
    return std::abs(std::log(aspect) - std::log(own));
  };
  // Rounding must not decide between 2:3 and 3:2 for a square video.
  constexpr double kEqual = 1e-9;
  size_t nearest = 0;
  for (size_t i = 1; i < sizes.size(); ++i) {
    if (distance(sizes[i]) < distance(sizes[nearest]) - kEqual) nearest = i;
  }
  return nearest;
}

}  // namespace vmla::data
