#pragma once

#include <cstdint>
#include <vector>

namespace vmla::data {

/// Which of the stored states of an ODE path are kept, and at which timesteps they are: falling,
/// 0 for the last.
struct OdeStates {
  std::vector<int64_t> kept;
  std::vector<double> times;
};

/// The states of a path with `stored` of them. Nothing given (empty lists): those of CausVid for 4
/// (before steps 0, 36 and 44 of 50 with shift 8, and the end), those of Causal-Forcing for 6
/// (before steps 0, 12, 24, 36 and 47 of 48 with shift 5, and the end), of which the fifth is left
/// out, since no student starts there. UserError where others are stored or what is given does not
/// fit.
OdeStates ode_states_of(int64_t stored,
                        const std::vector<int64_t>& kept,
                        const std::vector<double>& times);

}  // namespace vmla::data
