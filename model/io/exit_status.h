#pragma once

/// What the exit statuses of our programs mean (docs/operations.md "Statuses").
namespace vmla {

inline constexpr int kDone = 0;
inline constexpr int kFault = 1;
inline constexpr int kWrongInput = 2;  // the user can fix it; starting again does not help
inline constexpr int kPeerLost = 3;    // of a rank: it failed because another rank did
inline constexpr int kStopped = 75;    // stopped on request after saving: run me again

}  // namespace vmla
