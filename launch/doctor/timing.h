#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <string>

namespace vmla::launch::doctor {

/// Seconds of the fastest of at most ten calls of `work`, after one that is not counted; the device
/// has finished when the clock is read. No call begins after a tenth of a second.
double fastest(c10::Device device, const std::function<void()>& work);

/// What `work` throws, in one line; empty where it throws nothing.
std::string problem_of(const std::function<void()>& work);

}  // namespace vmla::launch::doctor
