#include "launch/device_wait.h"

#include <ATen/DeviceAccelerator.h>

namespace vmla::launch {

void wait_for(c10::Device device) {
  if (!device.is_cuda()) return;
  at::accelerator::synchronizeDevice(device.has_index() ? device.index()
                                                        : at::accelerator::getDeviceIndex());
}

}  // namespace vmla::launch
