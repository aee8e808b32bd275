#include "data/store/hdf5_handle.h"

#include <algorithm>
#include <string_view>

namespace vmla::data {

std::string hdf5_reason() {
  std::string reason;
  // Upward starts at the innermost call, which knows best; the walk stops at the first text.
  const auto take_first = [](unsigned, const H5E_error2_t* error, void* into) -> herr_t {
    auto& text = *static_cast<std::string*>(into);
    if (text.empty() && error->desc != nullptr) text = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &reason);
  // A failed system call comes with a time stamp and several lines; what the system said is enough.
  constexpr std::string_view kSystem = "error message = '";
  const size_t system = reason.find(kSystem);
  if (system != std::string::npos) {
    const size_t begin = system + kSystem.size();
    reason = reason.substr(begin, reason.find('\'', begin) - begin);
  }
  std::replace(reason.begin(), reason.end(), '\n', ' ');
  return reason.empty() ? "unknown reason" : reason;
}

Hdf5Handle hdf5_string_type() {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

}  // namespace vmla::data
