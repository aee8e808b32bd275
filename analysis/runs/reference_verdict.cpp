#include "analysis/runs/reference_verdict.h"

#include <algorithm>

#include "model/io/error.h"

namespace vmla::analysis {
namespace {

bool worse_below(const FinalFigure& figure) {
  return figure.worse != FinalFigure::Worse::kAbove;
}
bool worse_above(const FinalFigure& figure) {
  return figure.worse != FinalFigure::Worse::kBelow;
}

// -1 below the band, 1 above it, 0 inside. A value that is not finite is above everything.
int side_of(double value, const BandPoint& band) {
  if (!(value <= band.high)) return 1;
  return value < band.low ? -1 : 0;
}

BandVerdict judge_curve(const std::string& name,
                        const TraceCurve& curve,
                        const std::vector<BandPoint>& band) {
  BandVerdict verdict;
  verdict.name = name;
  std::vector<std::pair<TracePoint, BandPoint>> shared;
  for (const TracePoint& point : curve) {
    for (const BandPoint& there : band) {
      if (there.until == point.until) shared.emplace_back(point, there);
    }
  }
  verdict.points = static_cast<int64_t>(shared.size());
  if (shared.empty()) return verdict;
  verdict.value = shared.back().first.mean;
  verdict.band = shared.back().second;
  int side_before = 0;
  for (size_t i = 0; i < shared.size(); ++i) {
    const int side = side_of(shared[i].first.mean, shared[i].second);
    verdict.points_outside += side != 0;
    const bool stays_outside = side != 0 && (side == side_before || shared.size() == 1);
    if (stays_outside && verdict.inside) {
      // The first of the two points in a row.
      const auto& [point, there] = shared[i > 0 ? i - 1 : i];
      verdict.inside = false;
      verdict.value = point.mean;
      verdict.band = there;
    }
    side_before = side;
  }
  return verdict;
}

BandVerdict judge_final(const FinalFigure& figure, const BandPoint& band, double value) {
  const int side = side_of(value, band);
  const bool outside = (side < 0 && worse_below(figure)) || (side > 0 && worse_above(figure));
  return {.name = figure.name,
          .inside = !outside,
          .points = 1,
          .points_outside = outside ? 1 : 0,
          .value = value,
          .band = band};
}

}  // namespace

bool ReferenceVerdict::healthy() const {
  return first_outside() == nullptr;
}

const BandVerdict* ReferenceVerdict::first_outside() const {
  const BandVerdict* first = nullptr;
  for (const BandVerdict& curve : curves) {
    if (!curve.inside && (first == nullptr || curve.band.until < first->band.until)) first = &curve;
  }
  for (const BandVerdict& figure : finals) {
    if (!figure.inside && first == nullptr) first = &figure;
  }
  return first;
}

ReferenceVerdict judge(const RunTrace& run, const ReferenceTrace& reference) {
  if (run.objective != reference.objective) {
    fail_user("{}: was trained by {}, but the reference trace of stage {} is of {}",
              run.folder.string(),
              run.objective,
              reference.stage,
              reference.objective);
  }
  ReferenceVerdict verdict;
  int64_t points = 0, length = 0;
  for (const auto& [name, band] : reference.curves) {
    const auto curve = run.curves.find(name);
    verdict.curves.push_back(
        judge_curve(name, curve == run.curves.end() ? TraceCurve{} : curve->second, band));
    points += verdict.curves.back().points;
    length = std::max(length, band.back().until);
  }
  if (points == 0) {
    fail_user(
        "{}: its {} steps have no point in common with the reference trace of stage {}, whose "
        "first is step {}",
        run.folder.string(),
        run.last_step,
        reference.stage,
        kFirstTracePoint);
  }
  for (const FinalFigure& figure : final_figures()) {
    const auto band = reference.finals.find(figure.name);
    if (band == reference.finals.end()) continue;
    const std::optional<double> value = run.final_figure(figure.name);
    if (!value || run.last_step < length) {
      verdict.finals.push_back({.name = figure.name, .band = band->second});
    } else {
      verdict.finals.push_back(judge_final(figure, band->second, *value));
    }
  }
  return verdict;
}

}  // namespace vmla::analysis
