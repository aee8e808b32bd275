/* A libcuda.so.1 that plays the driver of a machine: what a driver says, and no more. Environment: FAKE_VERSION (13000),
   FAKE_INIT (status of cuInit, 0), FAKE_CAPABILITIES ("7.5 8.0": one GPU each). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char* name, int otherwise) {
  const char* text = getenv(name);
  return text ? atoi(text) : otherwise;
}

static int capabilities(int* tens, int most) {
  const char* text = getenv("FAKE_CAPABILITIES");
  int count = 0, major, minor, used;
  while (text && count < most && sscanf(text, "%d.%d%n", &major, &minor, &used) == 2) {
    tens[count++] = 10 * major + minor;
    text += used;
  }
  return count;
}

int cuDriverGetVersion(int* version) {
  *version = number("FAKE_VERSION", 13000);
  return 0;
}

int cuInit(unsigned flags) {
  (void)flags;
  return number("FAKE_INIT", 0);
}

int cuDeviceGetCount(int* count) {
  int tens[16];
  *count = capabilities(tens, 16);
  return 0;
}

int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return 0;
}

int cuDeviceGetName(char* name, int length, int device) {
  snprintf(name, (size_t)length, "Pretended GPU %d", device);
  return 0;
}

int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  (void)device;
  *bytes = (size_t)8 << 30;
  return 0;
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
  int tens[16] = {0};
  capabilities(tens, 16);
  *value = attribute == 75 ? tens[device] / 10 : attribute == 76 ? tens[device] % 10 : 0;
  return 0;
}
