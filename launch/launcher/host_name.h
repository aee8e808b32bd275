#pragma once

#include <string>

namespace vmla::launch {

/// This machine's name, as messages say it; "" where the system does not know.
std::string host_name();

}  // namespace vmla::launch
