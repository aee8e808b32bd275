#include "data/import/ode_states.h"

#include "model/io/error.h"

namespace vmla::data {
namespace {

/// The timestep before step `index` of `steps` Euler steps with the shift s: sigma is
/// s u / (1 + (s - 1) u) with u = 1 - index / steps (docs/algorithms.md 7.4).
double time_of(double index, double steps, double shift) {
  const double u = 1 - index / steps;
  return 1000 * shift * u / (1 + (shift - 1) * u);
}

OdeStates usual_states(int64_t stored) {
  if (stored == 4)
    return {.kept = {0, 1, 2, 3}, .times = {1000, time_of(36, 50, 8), time_of(44, 50, 8), 0}};
  if (stored == 6) {
    return {.kept = {0, 1, 2, 3, 5},
            .times = {1000, time_of(12, 48, 5), time_of(24, 48, 5), time_of(36, 48, 5), 0}};
  }
  fail_user(
      "data import: the ODE paths have {} states; 4 (CausVid) and 6 (Causal-Forcing) are known: "
      "give --states and --ode-times",
      stored);
}

}  // namespace

OdeStates ode_states_of(int64_t stored,
                        const std::vector<int64_t>& kept,
                        const std::vector<double>& times) {
  if (kept.empty() && times.empty()) return usual_states(stored);
  OdeStates states{.kept = kept, .times = times};
  if (kept.empty()) {
    for (int64_t i = 0; i < stored; ++i) states.kept.push_back(i);
  }
  if (states.times.size() != states.kept.size()) {
    fail_user("data import: --ode-times has {} numbers for {} states; it needs one for each",
              states.times.size(),
              states.kept.size());
  }
  for (size_t i = 0; i < states.kept.size(); ++i) {
    const bool rises = i > 0 && states.kept[i] <= states.kept[i - 1];
    if (states.kept[i] < 0 || states.kept[i] >= stored || rises)
      fail_user("data import: --states must rise and be below {}, the states of a path", stored);
    const bool falls = i == 0 || states.times[i] < states.times[i - 1];
    if (!falls || states.times[i] > 1000)
      fail_user("data import: --ode-times must fall, from at most 1000 to 0");
  }
  if (states.times.back() != 0 || states.kept.back() != stored - 1)
    fail_user("data import: the last state is the clean one, at timestep 0");
  return states;
}

}  // namespace vmla::data
