// What Verilator's runtime (runtime.cpp) leaves for a harness.

#pragma once

#include <string>

extern thread_local std::string printed;  // what the model has printed since it was last cleared
extern thread_local std::string fault;    // the first failed assertion since it was last cleared; empty if there is none
