#include "analysis/runs/reference_trace.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/io/atomic_file.h"
#include "model/io/error.h"
#include "model/io/json_text.h"
#include "model/io/quoted_name.h"

namespace vmla::analysis {
namespace {

using Json = nlohmann::ordered_json;

// The constants of make_reference's bands.
constexpr double kDeviations = 4;
constexpr double kLeastShare = 0.10;  // of the mean, to each side of a curve
constexpr size_t kNeighbours = 2;     // of a point, on either side
constexpr double kShareErrors = 3;    // standard errors of a share of clips
// Clips that a share is taken to be of where no run says it: what configs/tiny measures.
constexpr double kUsualClips = 96;

const char kFormat[] = "vmla reference trace";
constexpr int kVersion = 1;

struct Spread {
  double mean = 0, variance = 0;
};

// Mean and unbiased variance of two values or more.
Spread spread_of(const std::vector<double>& values) {
  const auto count = static_cast<double>(values.size());
  Spread spread;
  for (const double value : values) spread.mean += value / count;
  for (const double value : values) {
    spread.variance += (value - spread.mean) * (value - spread.mean) / (count - 1);
  }
  return spread;
}

// Half a band's width, from the variance between `runs` runs.
double prediction_width(double variance, size_t runs) {
  return kDeviations * std::sqrt(variance * (1 + 1 / static_cast<double>(runs)));
}

// The steps at which every run has a value, and the values there, by run.
std::map<int64_t, std::vector<double>> shared_points(const std::vector<RunTrace>& runs,
                                                     const std::string& name) {
  std::map<int64_t, std::vector<double>> points;
  for (const RunTrace& run : runs) {
    const auto curve = run.curves.find(name);
    if (curve == run.curves.end()) return {};
    for (const TracePoint& point : curve->second) points[point.until].push_back(point.mean);
  }
  std::erase_if(points, [&](const auto& entry) { return entry.second.size() < runs.size(); });
  return points;
}

bool all_positive(const std::map<int64_t, std::vector<double>>& points) {
  for (const auto& [until, values] : points) {
    if (std::ranges::any_of(values, [](double value) { return !(value > 0); })) return false;
  }
  return true;
}

// The mean variance of point i and its neighbours.
double variance_about(const std::vector<Spread>& spreads, size_t i) {
  const size_t begin = i > kNeighbours ? i - kNeighbours : 0;
  const size_t end = std::min(spreads.size(), i + kNeighbours + 1);
  double variance = 0;
  for (size_t j = begin; j < end; ++j)
    variance += spreads[j].variance / static_cast<double>(end - begin);
  return variance;
}

std::vector<BandPoint> curve_band(const std::map<int64_t, std::vector<double>>& points) {
  const bool positive = all_positive(points);
  std::vector<int64_t> steps;
  std::vector<Spread> spreads;
  size_t runs = 0;
  for (auto [until, values] : points) {
    if (positive) {
      for (double& value : values) value = std::log(value);
    }
    runs = values.size();
    steps.push_back(until);
    spreads.push_back(spread_of(values));
  }
  std::vector<BandPoint> band;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double mean = spreads[i].mean;
    const double width = prediction_width(variance_about(spreads, i), runs);
    if (positive) {
      const double factor = std::exp(std::max(width, std::log1p(kLeastShare)));
      band.push_back({.until = steps[i],
                      .mean = std::exp(mean),
                      .low = std::exp(mean) / factor,
                      .high = std::exp(mean) * factor});
    } else {
      const double half = std::max(width, kLeastShare * std::abs(mean));
      band.push_back({.until = steps[i], .mean = mean, .low = mean - half, .high = mean + half});
    }
  }
  return band;
}

// Of the runs that say how many clips the share is of.
double fewest_clips(const FinalFigure& figure, const std::vector<RunTrace>& runs) {
  double fewest = kUsualClips;
  bool known = false;
  for (const RunTrace& run : runs) {
    const auto found = run.clips.find(figure.name);
    if (found == run.clips.end()) continue;
    fewest = known ? std::min(fewest, found->second) : found->second;
    known = true;
  }
  return fewest;
}

std::optional<BandPoint> final_band(const FinalFigure& figure, const std::vector<RunTrace>& runs) {
  std::vector<double> values;
  for (const RunTrace& run : runs) {
    const auto found = run.finals.find(figure.name);
    if (found == run.finals.end()) return std::nullopt;
    values.push_back(found->second);
  }
  const Spread spread = spread_of(values);
  double half = std::max({prediction_width(spread.variance, values.size()),
                          figure.absolute_floor,
                          figure.relative_floor * std::abs(spread.mean)});
  if (figure.share) {
    const double p = std::clamp(spread.mean, 0.0, 1.0);
    const double error = std::sqrt(p * (1 - p) / fewest_clips(figure, runs));
    half = std::max(half, figure.absolute_floor + kShareErrors * error);
  }
  BandPoint band{.mean = spread.mean, .low = spread.mean - half, .high = spread.mean + half};
  if (figure.share) {
    band.low = std::max(band.low, 0.0);
    band.high = std::min(band.high, 1.0);
  }
  return band;
}

void check_that_runs_match(const std::vector<RunTrace>& runs) {
  if (runs.size() < 2)
    fail_user("a reference needs two runs or more of a stage, got {}", runs.size());
  const RunTrace& first = runs.front();
  for (const RunTrace& run : runs) {
    if (run.objective == first.objective && run.init == first.init &&
        run.last_step == first.last_step) {
      continue;
    }
    fail_user(
        "a reference needs runs that differ in their seeds only: {} is {} {} with {} steps, {} is "
        "{} {} with {}",
        first.folder.string(),
        first.objective,
        first.init,
        first.last_step,
        run.folder.string(),
        run.objective,
        run.init,
        run.last_step);
  }
}

std::map<std::string, std::string> shared_settings(const std::vector<RunTrace>& runs) {
  std::map<std::string, std::string> settings = runs.front().settings;
  for (const RunTrace& run : runs) {
    std::erase_if(settings, [&](const auto& setting) {
      const auto found = run.settings.find(setting.first);
      return found == run.settings.end() || found->second != setting.second;
    });
  }
  return settings;
}

Json band_json(const BandPoint& band) {
  Json json;
  if (band.until > 0) json["until"] = band.until;
  json["mean"] = band.mean;
  json["low"] = band.low;
  json["high"] = band.high;
  return json;
}

BandPoint parse_band(const nlohmann::json& json, bool on_curve) {
  return {.until = on_curve ? json.at("until").get<int64_t>() : 0,
          .mean = json.at("mean").get<double>(),
          .low = json.at("low").get<double>(),
          .high = json.at("high").get<double>()};
}

ReferenceTrace parse_reference(const nlohmann::json& json) {
  ReferenceTrace reference;
  reference.stage = json.at("stage");
  reference.objective = json.at("objective");
  reference.init = json.at("init");
  reference.runs = json.at("runs");
  reference.settings = json.at("settings").get<std::map<std::string, std::string>>();
  for (const auto& [name, points] : json.at("curves").items()) {
    for (const auto& point : points) reference.curves[name].push_back(parse_band(point, true));
  }
  for (const auto& [name, figure] : json.at("finals").items()) {
    reference.finals[name] = parse_band(figure, false);
  }
  return reference;
}

}  // namespace

ReferenceTrace make_reference(const std::vector<RunTrace>& runs) {
  check_that_runs_match(runs);
  const RunTrace& first = runs.front();
  ReferenceTrace reference{.stage = first.stage,
                           .objective = first.objective,
                           .init = first.init,
                           .runs = static_cast<int64_t>(runs.size()),
                           .settings = shared_settings(runs)};
  for (const auto& [name, curve] : first.curves) {
    const auto points = shared_points(runs, name);
    if (!points.empty()) reference.curves[name] = curve_band(points);
  }
  for (const FinalFigure& figure : final_figures()) {
    if (const auto band = final_band(figure, runs)) reference.finals[figure.name] = *band;
  }
  return reference;
}

std::string reference_json(const ReferenceTrace& reference) {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["stage"] = reference.stage;
  json["objective"] = reference.objective;
  json["init"] = reference.init;
  json["runs"] = reference.runs;
  json["settings"] = reference.settings;
  json["curves"] = Json::object();
  for (const auto& [name, points] : reference.curves) {
    for (const BandPoint& point : points) json["curves"][name].push_back(band_json(point));
  }
  json["finals"] = Json::object();
  for (const auto& [name, band] : reference.finals) json["finals"][name] = band_json(band);
  return json.dump(1) + "\n";
}

ReferenceTrace read_reference(const std::filesystem::path& file) {
  const std::string text = io::read_text_file(file);
  const auto json = io::parse_json<nlohmann::json>(text, file.string());
  if (!json.is_object() || !json.contains("format") || json["format"] != kFormat) {
    fail_user("{}: is not a reference trace (vmla compare --make-reference writes them)",
              file.string());
  }
  // A version that is no number is none that this program knows.
  const auto version = json.value("version", nlohmann::json());
  if (version != kVersion) {
    fail_user("{}: is a reference trace of version {}, this program reads version {}",
              file.string(),
              io::quoted_name(version.dump()),
              kVersion);
  }
  try {
    return parse_reference(json);
  } catch (const nlohmann::json::exception& error) {
    fail_user("{}: is a damaged reference trace: {}", file.string(), error.what());
  }
}

}  // namespace vmla::analysis
