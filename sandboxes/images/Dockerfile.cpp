# C++: g++ with Boost's and OpenSSL's headers.
ARG BASE
FROM ${BASE}
COPY install /usr/local/sbin/mellum-install
RUN sh /usr/local/sbin/mellum-install g++ libc6-dev libboost-dev libssl-dev
RUN printf '#include <bits/stdc++.h>\nint main(){return 0;}\n' >/tmp/t.cc && g++ -std=c++20 /tmp/t.cc -lssl -lcrypto -o /tmp/t && /tmp/t && rm /tmp/t*
