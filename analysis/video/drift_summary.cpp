#include "analysis/video/drift_summary.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "analysis/page/short_number.h"
#include "model/io/error.h"

namespace vmla::analysis {
namespace {

using Json = nlohmann::ordered_json;

// JSON has no NaN.
Json number(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

// A border jump, which is 0 where it is unknown.
Json known(double jump) {
  return jump > 0 ? number(jump) : Json(nullptr);
}

Json numbers(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(number(value));
  return list;
}

std::string name_of(DriftFigure figure) {
  return std::string(kDriftFigureNames.at(static_cast<size_t>(figure)));
}

// The figures whose last level real clips do not have.
std::string outside_names(const DriftMeasures& measures) {
  std::string names;
  for (size_t i = 0; i < kDriftFigures; ++i) {
    if (measures.curves[i].inside()) continue;
    if (!names.empty()) names += ", ";
    names += kDriftFigureNames[i];
  }
  return names;
}

double worst_real_score(const DriftMeasures& measures) {
  return *std::max_element(measures.band.real_score.begin(), measures.band.real_score.end());
}

}  // namespace

std::string drift_json(const DriftMeasures& measures) {
  const DriftLayout& layout = measures.layout;
  Json json;
  json["clips"] = measures.clips;
  json["frames"] = layout.frames;
  json["window_frames"] = layout.window_frames;
  json["windows"] = layout.windows();
  json["seconds"] = number(layout.fps > 0 ? static_cast<double>(layout.frames) / layout.fps : NAN);
  json["within_band"] = measures.within_band();
  json["shift"] = number(measures.shift);
  json["shift_worst"] = name_of(measures.shift_worst);
  json["inside"] = measures.inside();
  json["steady"] = measures.steady();
  json["score"] = number(measures.score);
  json["score_worst"] = name_of(measures.score_worst);
  json["real_score"] = number(worst_real_score(measures));
  json["border_jump"] = known(measures.border_jump);
  json["real_border_jump"] = known(measures.band.border_jump);
  json["motion_share_first"] = number(measures.motion_share.front());
  json["motion_share_last"] = number(measures.motion_share.back());
  json["motion_share_least"] =
      number(*std::min_element(measures.motion_share.begin(), measures.motion_share.end()));
  for (const auto& [name, shares] : {std::pair{"colour", &measures.colour},
                                     {"shape", &measures.shape},
                                     {"direction", &measures.direction},
                                     {"present", &measures.present},
                                     {"colour_present", &measures.colour_present},
                                     {"shape_present", &measures.shape_present},
                                     {"direction_present", &measures.direction_present}}) {
    json["adherence"][name] = numbers(*shares);
    json["adherence"][std::string(name) + "_last"] = number(shares->back());
  }
  json["motion_share"] = numbers(measures.motion_share);
  json["area_share"] = numbers(measures.area_share);
  json["area_share_first"] = number(measures.area_share.front());
  json["area_share_last"] = number(measures.area_share.back());
  json["area_share_least"] =
      number(*std::min_element(measures.area_share.begin(), measures.area_share.end()));
  for (size_t i = 0; i < kDriftFigures; ++i) {
    const DriftCurve& curve = measures.curves[i];
    Json& figure = json["figures"][std::string(kDriftFigureNames[i])];
    figure["shift"] = number(curve.shift);
    figure["score"] = number(curve.score);
    figure["real_score"] = number(measures.band.real_score[i]);
    figure["inside"] = curve.inside();
    figure["unit"] = number(measures.band.unit[i]);
    figure["real_mean"] = number(measures.band.mean[i]);
    figure["low"] = number(curve.low);
    figure["high"] = number(curve.high);
    figure["by_window"] = numbers(curve.mean);
  }
  return json.dump(2);
}

std::string drift_line(const DriftMeasures& measures) {
  const std::string outside = outside_names(measures);
  const std::string levels = outside.empty() ? "every level is real clips'"
                                             : formatted("levels unlike real clips': {}", outside);
  return formatted(
      "drift over {} frames, {} videos: {} the band of real clips, largest shift {} of its half "
      "width ({}); a video changes by up to {} times a real clip's change ({}); {}; last window: "
      "a shape is there in {} %, with the right colour in {} %, with the right direction in {} %; "
      "area {}, motion {} of real clips'",
      measures.layout.frames,
      measures.clips,
      measures.within_band() ? "within" : "beyond",
      short_number(measures.shift),
      name_of(measures.shift_worst),
      short_number(measures.score),
      name_of(measures.score_worst),
      levels,
      short_number(100 * measures.present.back()),
      short_number(100 * measures.colour_present.back()),
      short_number(100 * measures.direction_present.back()),
      short_number(measures.area_share.back()),
      short_number(measures.motion_share.back()));
}

}  // namespace vmla::analysis
