# PHP, from Debian's packages.
ARG BASE
FROM ${BASE}
COPY install /usr/local/sbin/mellum-install
RUN sh /usr/local/sbin/mellum-install php-cli php-mbstring
RUN php -r 'exit(mb_strlen("ok") - 2);'
