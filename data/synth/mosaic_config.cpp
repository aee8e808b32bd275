#include "data/synth/mosaic_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "data/synth/shape_levels.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"

namespace vmla::data {

double MosaicConfig::value(int64_t j) const {
  const auto last = static_cast<double>(levels - 1);
  // Evenly spaced numbers of -1 ... 1 have the mean square (L + 1) / (3 (L - 1)).
  return level +
         amplitude * std::sqrt(3 * last / (last + 2)) * (2 * static_cast<double>(j) / last - 1);
}

std::optional<std::pair<std::string, std::string>> mosaic_problem(const MosaicConfig& mosaic,
                                                                  int64_t frames,
                                                                  int64_t side) {
  using Problem = std::pair<std::string, std::string>;
  constexpr int64_t kMostLevels = 16;
  if (mosaic.cells < 2 || side % mosaic.cells != 0) {
    return Problem(
        "cells",
        formatted("{}: must be at least 2 and divide the side, {} pixels", mosaic.cells, side));
  }
  if (mosaic.channels != "rgb" && mosaic.channels != "gray") {
    return Problem("channels",
                   formatted("{}: must be rgb or gray", io::quoted_name(mosaic.channels)));
  }
  if (mosaic.levels < 2 || mosaic.levels > kMostLevels) {
    return Problem("levels", formatted("{}: must be from 2 to {}", mosaic.levels, kMostLevels));
  }
  if (!(mosaic.amplitude > 0)) {
    return Problem("amplitude", formatted("{:g}: must be above 0", mosaic.amplitude));
  }
  const double low = pixel_value(kDarkLevel), high = darkest_surface();
  if (!(mosaic.level - mosaic.peak() > low && mosaic.level + mosaic.peak() < high)) {
    return Problem(
        "level",
        formatted("{:g} with values up to {:g} away: the ground must lie between the dark "
                  "of the border, {:.3f}, and the darkest surface of a shape, {:.3f}",
                  mosaic.level,
                  mosaic.peak(),
                  low,
                  high));
  }
  if (mosaic.hidden_first < 0) {
    return Problem("hidden_first", formatted("{}: must be 0 or more", mosaic.hidden_first));
  }
  if (mosaic.hidden_frames < 0 || mosaic.hidden_frames >= frames) {
    return Problem("hidden_frames",
                   formatted("{}: must be 0 or more, and fewer than the clip's {} frames",
                             mosaic.hidden_frames,
                             frames));
  }
  return std::nullopt;
}

std::string scene_text(const std::optional<MosaicConfig>& mosaic) {
  if (!mosaic) return "";
  nlohmann::ordered_json json = {{"scene", "mosaic"}};
  MosaicConfig::fields(
      *mosaic, [&](const char* name, const auto& value, const char*) { json[name] = value; });
  return json.dump();
}

std::optional<MosaicConfig> parse_scene(const std::string& text, const std::string& place) {
  if (text.empty()) return std::nullopt;
  const auto json = io::parse_json<nlohmann::json>(text, place);
  const auto fail = [&](const std::string& what) {
    fail_user("{}: scene: {}; this program knows scenes that vmla data synth made", place, what);
  };
  if (!json.is_object() || json.value("scene", nlohmann::json()) != "mosaic") {
    fail("is no mosaic");
  }
  MosaicConfig mosaic;
  MosaicConfig::fields(mosaic, [&](const char* name, auto& member, const char*) {
    using Member = std::remove_reference_t<decltype(member)>;
    const auto value = json.find(name);
    if (value == json.end()) fail(formatted("{} is missing", name));
    const bool fits = std::is_same_v<Member, std::string> ? value->is_string()
                      : std::is_same_v<Member, double>    ? value->is_number()
                                                          : value->is_number_integer();
    if (!fits) fail(formatted("{} has another type", name));
    member = value->template get<Member>();
  });
  // The side is not known here: what is left of the check is the sizes that everything else
  // allocates by.
  constexpr int64_t kMostCells = 4096;
  if (mosaic.cells > kMostCells) fail(formatted("{} cells", mosaic.cells));
  const int64_t frames =
      std::max<int64_t>(mosaic.hidden_frames, 0) < INT64_MAX ? mosaic.hidden_frames + 1 : INT64_MAX;
  if (const auto problem = mosaic_problem(mosaic, frames, mosaic.cells)) {
    fail(problem->first + " is " + problem->second);
  }
  return mosaic;
}

}  // namespace vmla::data
