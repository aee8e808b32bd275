#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vmla::data {

/// Pixels of a clip's pictures.
struct ClipSize {
  int64_t height = 0, width = 0;
  /// "480x832", as files are named after it.
  std::string name() const;
  bool operator==(const ClipSize&) const = default;
};

/// "480x832,832x480": height x width of each, in that order. UserError, with `what` in front, for
/// what is no such list, a size of 0, or one that is there twice.
std::vector<ClipSize> parse_clip_sizes(const std::string& what, std::string_view text);

/// The size whose width over height is nearest to `aspect` (above 0) in its logarithm, so that
/// twice as wide is as far off as twice as high. Of equally near ones the first; `sizes` must not
/// be empty.
size_t nearest_size(const std::vector<ClipSize>& sizes, double aspect);

}  // namespace vmla::data
